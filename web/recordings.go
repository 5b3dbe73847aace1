package web

import (
	"io"
	"net/http"

	"parley/conference"
	"parley/web/token"
)

// mine tells whether a recording is one that the token is for: of the conference with its uid, or of the one that has its
// number at present. An older conference with the same number was somebody else's.
func (a *api) mine(r *http.Request, who *token.Claims, rec *Recording) (bool, error) {
	if who.Conference == "" || who.Conference == rec.UID {
		return true, nil
	}
	if who.Conference != rec.Number {
		return false, nil
	}
	ctx, done := a.house(r)
	defer done()
	views, err := a.House.Look(ctx, *who, rec.Number)
	return len(views) > 0 && views[0].UID == rec.UID, err
}

// mayHear refuses whom recordings are none of their business.
func (a *api) mayHear(who *token.Claims) error {
	if !who.Has(conference.RightRecord) {
		return forbidden("this token does not give the right: " + string(conference.RightRecord))
	}
	if a.Recordings == nil {
		return ErrNotFound
	}
	return nil
}

// recordings lists the recordings that the caller may have.
func (a *api) recordings(w http.ResponseWriter, r *http.Request, who *token.Claims) error {
	if err := a.mayHear(who); err != nil {
		return err
	}
	all, err := a.Recordings.List()
	if err != nil {
		return err
	}
	list := []Recording{}
	for i := range all {
		mine, err := a.mine(r, who, &all[i])
		if err != nil {
			return err
		}
		if mine {
			list = append(list, all[i])
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"recordings": list})
	return nil
}

// open opens the recording of the path, if it is one of the caller's. free is to be called in any case.
func (a *api) open(r *http.Request, who *token.Claims) (body io.ReadSeeker, rec Recording, free func(), err error) {
	free = func() {}
	if err := a.mayHear(who); err != nil {
		return nil, rec, free, err
	}
	id := r.PathValue("id")
	if id == "" || !plain(id) {
		return nil, rec, free, ErrNotFound
	}
	body, rec, err = a.Recordings.Open(id)
	if err != nil {
		return nil, rec, free, err
	}
	if c, ok := body.(io.Closer); ok {
		free = func() { c.Close() }
	}
	mine, err := a.mine(r, who, &rec)
	if err == nil && !mine {
		err = ErrNotFound
	}
	return body, rec, free, err
}

// recording sends a recording, whole or in ranges.
func (a *api) recording(w http.ResponseWriter, r *http.Request, who *token.Claims) error {
	body, rec, free, err := a.open(r, who)
	defer free()
	if err != nil {
		return err
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil { // there may be no sound yet
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "audio/ogg")
	h.Set("Content-Disposition", `inline; filename="`+rec.ID+`.ogg"`)
	if !rec.Running && rec.Head != "" {
		h.Set("ETag", `"`+rec.Head+`"`)
	}
	return a.send(w, r, who, body, rec.Ended)
}

// index sends who spoke when, and the notes.
func (a *api) index(w http.ResponseWriter, r *http.Request, who *token.Claims) error {
	_, rec, free, err := a.open(r, who)
	defer free()
	if err != nil {
		return err
	}
	if a.Index == nil {
		return ErrNotFound
	}
	index, err := a.Index(rec.ID)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"recording": rec, "index": index})
	return nil
}

// deleteRecording takes an admin, or a token for that very conference: a recording does not come back.
func (a *api) deleteRecording(w http.ResponseWriter, r *http.Request, who *token.Claims) error {
	_, rec, free, err := a.open(r, who)
	free()
	if err != nil {
		return err
	}
	if who.Role != token.Admin && who.Conference == "" {
		return forbidden("only an admin's token, or a host's for this conference, deletes recordings")
	}
	if err := a.Recordings.Delete(rec.ID); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
