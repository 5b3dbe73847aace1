package web

import (
	"net/http"

	"parley/web/token"
)

// support gives a support bundle to an admin whose token is for everything: all conferences stand in it.
func (a *api) support(w http.ResponseWriter, _ *http.Request, who *token.Claims) error {
	if who.Role != token.Admin || who.Limits != nil || who.Conference != "" {
		return forbidden("a support bundle is for admins")
	}
	if a.Support == nil {
		return ErrNotFound
	}
	bundle, err := a.Support()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Disposition", `attachment; filename="support.txt.gz"`)
	write(w, http.StatusOK, "application/gzip", bundle)
	return nil
}
