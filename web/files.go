package web

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"parley/conference"
	"parley/conference/create"
	"parley/conference/store"
	"parley/web/token"
)

// An upload goes in the manner of tus 1.0: POST announces it and answers with its place, each PATCH brings bytes from
// Upload-Offset on, HEAD tells how far it is. When the last byte has come its SHA-256 is compared, and only then the file is there.
//
// Bytes may take their time: as long as some of them move, the deadlines of a transfer are moved on.

const (
	stalled  = 30 * time.Second // a transfer in which nothing moves for so long is ended
	maxBegin = 8 << 10          // bytes
)

// files lists the files of a conference.
func (a *api) files(w http.ResponseWriter, r *http.Request, who *token.Claims) error {
	uid, err := a.uid(r, who, conference.RightFiles)
	if err != nil {
		return err
	}
	list := []store.Info{}
	if a.Files != nil {
		list = append(list, a.Files.List(uid)...)
	}
	writeJSON(w, http.StatusOK, map[string]any{"uid": uid, "files": list})
	return nil
}

// begin announces an upload: {"name", "size", "sha256"}.
func (a *api) begin(w http.ResponseWriter, r *http.Request, who *token.Claims) error {
	body, err := readBody(w, r, maxBegin)
	if err != nil {
		return err
	}
	uid, err := a.uid(r, who, conference.RightShare)
	if err != nil {
		return err
	}
	if a.Files == nil {
		return ErrNotFound
	}
	meta, err := decodeMeta(body)
	if err != nil {
		return err
	}
	meta.By = who.Subject
	id, err := a.Files.Begin(uid, meta)
	if err != nil {
		return err
	}
	w.Header().Set("Location", root+"conferences/"+uid+"/files/"+id)
	w.Header().Set("Upload-Offset", "0")
	writeJSON(w, http.StatusCreated, map[string]any{"id": id, "uid": uid, "offset": 0, "size": meta.Size})
	return nil
}

func decodeMeta(body []byte) (store.Meta, error) {
	values, err := create.Object(body, maxBegin)
	if err != nil {
		return store.Meta{}, err
	}
	a := args{values: values}
	name, _ := values["name"].(string) // the store says which names there can be
	sum, _ := values["sha256"].(string)
	size, err := strconv.ParseInt(fmt.Sprint(values["size"]), 10, 64)
	if name == "" {
		a.fail("name", create.Missing, "is required")
	}
	if err != nil || size < 0 {
		a.fail("size", create.Invalid, "want a number of bytes")
	}
	if len(sum) != 64 {
		a.fail("sha256", create.Invalid, "want 64 hexadecimal digits")
	}
	for key := range values {
		if key != "name" && key != "size" && key != "sha256" {
			a.fail(harmless(fmt.Sprintf("%.40q", key)), create.Unknown, "there is no such field")
		}
	}
	return store.Meta{Name: name, Size: size, SHA256: strings.ToLower(sum)}, a.err
}

// upload takes bytes of an upload, and finishes it with the last.
func (a *api) upload(w http.ResponseWriter, r *http.Request, who *token.Claims) error {
	uid, id, err := a.fileOf(r, who, conference.RightShare)
	if err != nil {
		return err
	}
	offset, err := strconv.ParseInt(r.Header.Get("Upload-Offset"), 10, 64)
	if err != nil || offset < 0 {
		return &fault{http.StatusUnprocessableEntity, "invalid_value", "want the header Upload-Offset, a number of bytes", "Upload-Offset"}
	}
	free, err := a.transfers.take(who.Subject)
	if err != nil {
		return err
	}
	defer free()
	control := http.NewResponseController(w)
	at, err := a.Files.Write(uid, id, offset, moving{r.Body, control.SetReadDeadline})
	control.SetWriteDeadline(time.Now().Add(stalled))
	w.Header().Set("Upload-Offset", strconv.FormatInt(at, 10))
	if err != nil {
		return err
	}
	info, err := a.Files.Status(uid, id)
	if err == nil && at == info.Size && !info.Finished {
		if info, err = a.Files.Finish(uid, id); err == nil && a.Shared != nil {
			a.Shared(uid, info)
		}
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// fileOf finds conference and file of the path.
func (a *api) fileOf(r *http.Request, who *token.Claims, right conference.Right) (uid, id string, err error) {
	if uid, err = a.uid(r, who, right); err != nil {
		return "", "", err
	}
	if id = r.PathValue("id"); a.Files == nil || !plain(id) {
		return "", "", ErrNotFound
	}
	return uid, id, nil
}

// file sends a file, whole or in ranges; HEAD also tells how far an upload is.
func (a *api) file(w http.ResponseWriter, r *http.Request, who *token.Claims) error {
	uid, id, err := a.fileOf(r, who, conference.RightFiles)
	if err != nil {
		return err
	}
	info, err := a.Files.Status(uid, id)
	if err != nil {
		return err
	}
	if !info.Finished && !who.Has(conference.RightShare) {
		return store.ErrNotFound
	}
	h := w.Header()
	if r.Method == http.MethodHead {
		h.Set("Upload-Offset", strconv.FormatInt(info.Received, 10))
		h.Set("Upload-Length", strconv.FormatInt(info.Size, 10))
		if !info.Finished {
			return nil
		}
	}
	body, info, err := a.Files.Open(uid, id)
	if err != nil {
		return err
	}
	defer body.Close()
	h.Set("Content-Type", "application/octet-stream") // whatever it says it is, no browser is to run it
	h.Set("Content-Disposition", attachment(info.Name))
	h.Set("ETag", `"`+info.SHA256+`"`)
	return a.send(w, r, who, body, info.At)
}

// attachment names a file for who saves it (RFC 6266): in ASCII, and as it is.
func attachment(name string) string {
	ascii := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || strings.ContainsRune(`"\%;`, r) {
			return '_'
		}
		return r
	}, name)
	return `attachment; filename="` + ascii + `"; filename*=UTF-8''` + strings.ReplaceAll(url.QueryEscape(name), "+", "%20")
}

func (a *api) deleteFile(w http.ResponseWriter, r *http.Request, who *token.Claims) error {
	uid, id, err := a.fileOf(r, who, conference.RightShare)
	if err != nil {
		return err
	}
	if err := a.Files.Delete(uid, id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// send answers with a body, or the ranges of it that are asked for.
func (a *api) send(w http.ResponseWriter, r *http.Request, who *token.Claims, body io.ReadSeeker, changed time.Time) error {
	free, err := a.transfers.take(who.Subject)
	if err != nil {
		w.Header().Del("Content-Disposition")
		w.Header().Del("ETag")
		return err
	}
	defer free()
	control := http.NewResponseController(w)
	http.ServeContent(w, r, "", changed, struct {
		io.Reader
		io.Seeker
	}{moving{body, control.SetWriteDeadline}, body})
	return nil
}

// moving moves a deadline on with every read.
type moving struct {
	io.Reader
	deadline func(time.Time) error
}

// Read reads, after giving the other side its time anew.
func (m moving) Read(b []byte) (int, error) {
	m.deadline(time.Now().Add(stalled)) // where it cannot be moved, the server's own holds
	return m.Reader.Read(b)
}
