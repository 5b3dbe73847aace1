package fleet

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"parley/mqtt/wire"
)

// reserved are names that mean somebody else at the broker.
var reserved = []string{operatorName, claimName, "hub", "watcher", "admin"}

// Enrol answers a box that asks to be taken in:
//
//	its request is wrong                                  rejected, invalid_csr
//	enrolled with this key                                accepted, with the same certificate
//	enrolled with another key, which was not released     rejected, already_claimed
//	on the list, by serial number or name                 accepted
//	by an entry that another box has used                 rejected, already_claimed
//	else                                                  pending: ask again after retry
//
// The folder holds what was decided before the answer is given. The error is one of the folder's; then there is no answer.
func (f *Fleet) Enrol(r *wire.EnrolRequest, retry time.Duration, now time.Time) (a wire.EnrolAnswer, err error) {
	err = f.locked(func() error {
		a, err = f.enrol(r, retry, now)
		return err
	})
	return a, err
}

func (f *Fleet) enrol(r *wire.EnrolRequest, retry time.Duration, now time.Time) (wire.EnrolAnswer, error) {
	csr, err := checkRequest(r)
	if err != nil {
		return refuse(r, wire.ReasonInvalidCSR, err.Error()), nil
	}
	key := hashOf(csr.RawSubjectPublicKeyInfo)
	known, err := f.Box(r.Box)
	switch {
	case errors.Is(err, ErrUnknownBox):
		known = &Box{Box: r.Box, Released: true}
	case err != nil:
		return wire.EnrolAnswer{}, err
	}
	if !known.Released {
		if known.Key != key {
			return refuse(r, wire.ReasonAlreadyClaimed, "enrolled with another key since "+known.Enrolled.Format("2006-01-02")), nil
		}
		return f.accept(r, known)
	}
	entry, taken, err := f.entryFor(r.Box, r.Serial)
	switch {
	case err != nil:
		return wire.EnrolAnswer{}, err
	case taken != "":
		return refuse(r, wire.ReasonAlreadyClaimed, "its serial number has enrolled as "+taken), nil
	case entry == "":
		a := r.Answer(wire.EnrolPending)
		a.RetryAfter = max(1, int(retry/time.Second))
		return a, nil
	}
	if err := f.claim(entry, r.Box); err != nil {
		return wire.EnrolAnswer{}, err
	}
	known.Key, known.Entry, known.Enrolled, known.Released = key, entry, now.UTC().Truncate(time.Second), false
	authority, err := f.authority()
	if err != nil {
		return wire.EnrolAnswer{}, err
	}
	cert, err := authority.issue(clientTemplate(r.Box), csr.PublicKey)
	if err != nil {
		return wire.EnrolAnswer{}, err
	}
	known.Certificate = string(cert)
	return f.accept(r, known)
}

// accept keeps what the box says of itself, and grants what it asks for.
func (f *Fleet) accept(r *wire.EnrolRequest, b *Box) (wire.EnrolAnswer, error) {
	b.Serial, b.Model, b.Firmware, b.Seal = r.Serial, r.Model, r.Firmware, r.Seal
	if err := f.save(b); err != nil {
		return wire.EnrolAnswer{}, err
	}
	authority, err := f.authority()
	if err != nil {
		return wire.EnrolAnswer{}, err
	}
	a := r.Answer(wire.EnrolAccepted)
	a.EID, a.Broker, a.Certificate, a.CA = f.EID, f.Broker, b.Certificate, string(authority.pem)
	return a, nil
}

func refuse(r *wire.EnrolRequest, reason, detail string) wire.EnrolAnswer {
	a := r.Answer(wire.EnrolRejected)
	a.Reason, a.Detail = reason, strings.Map(visible, detail)
	a.Detail = a.Detail[:min(len(a.Detail), 200)]
	return a
}

func visible(r rune) rune {
	if r < ' ' || r > '~' {
		return ' '
	}
	return r
}

// checkRequest holds that the certificate that is asked for is the box's own, and that its name is nobody else's.
func checkRequest(r *wire.EnrolRequest) (*x509.CertificateRequest, error) {
	csr, err := r.OpenCSR()
	switch {
	case err != nil:
		return nil, err
	case slices.Contains(reserved, r.Box) || strings.Trim(r.Box, "0123456789") == "":
		return nil, fmt.Errorf("%w: %s is the name of somebody who is no box", ErrInvalid, r.Box)
	}
	return csr, nil
}

// SignAnswer puts an answer into an envelope with the operator's signature.
func (f *Fleet) SignAnswer(a wire.EnrolAnswer) ([]byte, error) {
	return wire.SignEnrolAnswer(a, f.operator)
}
