package wire

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// ErrNotOurs: an answer is genuine, and for another box, request or key, or it came on another topic.
var ErrNotOurs = errors.New("an answer to something else")

// EnrolRequest is the payload of Prov.CSR: a box asks to be taken into an enterprise. It proves nothing by itself; whether a box is
// expected says the operator's list.
type EnrolRequest struct {
	Schema   int    `json:"schema"`
	Nonce    string `json:"nonce"` // of this run of the box; every answer repeats it
	Box      string `json:"box"`   // the topic's clientid
	Serial   string `json:"serial"`
	Model    string `json:"model"` // board
	Firmware string `json:"firmware"`
	CSR      string `json:"csr"`  // PKCS #10 in PEM, see NewCSR: its common name is Box, its organizational unit Seal
	Seal     string `json:"seal"` // public X25519 key to which secrets are to be sealed, base64
}

// EnrolSchema is the only form of EnrolRequest and EnrolAnswer that this version knows.
const EnrolSchema = 1

const (
	maxPEM     = 16 << 10 // bytes
	maxOpKeys  = 16
	maxRetry   = 24 * 3600 // seconds
	maxBroker  = 256
	leastNonce = 16
)

// Check tells what is wrong with the values.
func (r *EnrolRequest) Check() error {
	if r.Schema != EnrolSchema {
		return invalid("schema", "want %d", EnrolSchema)
	}
	if err := firstOf(checkID("nonce", r.Nonce), named("box", CheckBox(r.Box)), text("serial", r.Serial, 1, 64), text("model", r.Model, 1, 64),
		text("firmware", r.Firmware, 1, 64), pemText("csr", r.CSR, "CERTIFICATE REQUEST")); err != nil {
		return err
	}
	if len(r.Nonce) < leastNonce {
		return invalid("nonce", "want at least %d characters", leastNonce)
	}
	if _, err := ParseSealKey(r.Seal); err != nil {
		return invalid("seal", "want base64 of an X25519 key")
	}
	return nil
}

// CSRHash names a request's CSR: SHA-256 of its DER, in hexadecimal; empty if there is none.
func (r *EnrolRequest) CSRHash() string {
	block, _ := pem.Decode([]byte(r.CSR))
	if block == nil {
		return ""
	}
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:])
}

// EnrolStatus is how an enrolment stands; it is the topic's last part, too.
type EnrolStatus string

// The statuses.
const (
	EnrolAccepted EnrolStatus = "accepted"
	EnrolPending  EnrolStatus = "pending"
	EnrolRejected EnrolStatus = "rejected"
)

var enrolStatuses = []EnrolStatus{EnrolAccepted, EnrolPending, EnrolRejected}

// The reasons of a rejected enrolment.
const (
	ReasonAlreadyClaimed = "already_claimed" // the box is enrolled with another key, until that is released
	ReasonInvalidCSR     = "invalid_csr"     // it cannot be read, is not signed by its own key, or is for another name
	ReasonNotWanted      = "not_wanted"      // the operator does not want this box
)

// EnrolReasons lists every reason of a rejected enrolment.
func EnrolReasons() []string {
	return []string{ReasonAlreadyClaimed, ReasonInvalidCSR, ReasonNotWanted}
}

// EnrolAnswer is what an Envelope on Prov.Answer holds. It repeats what it answers, so that it is of no use to another box, for
// another key, or another time.
type EnrolAnswer struct {
	Schema int         `json:"schema"`
	Status EnrolStatus `json:"status"`
	Nonce  string      `json:"nonce"`
	Box    string      `json:"box"`
	CSR    string      `json:"csr"`  // EnrolRequest.CSRHash
	Seal   string      `json:"seal"` // EnrolRequest.Seal

	RetryAfter int    `json:"retry_after,omitempty"` // of pending: seconds
	Reason     string `json:"reason,omitempty"`      // of rejected: one of EnrolReasons
	Detail     string `json:"detail,omitempty"`      // for people

	// Of accepted.
	EID         string   `json:"eid,omitempty"`
	Broker      string   `json:"broker,omitempty"`      // mqtts://host[:port]
	Certificate string   `json:"certificate,omitempty"` // PEM: of the box, then those between it and the CA
	CA          string   `json:"ca,omitempty"`          // PEM: who may sign the broker's certificate
	Keys        []string `json:"keys,omitempty"`        // of operators, as EncodePublicKey writes them, beside those that the box knows
}

// Check tells what is wrong with the values.
func (a *EnrolAnswer) Check() error {
	if a.Schema != EnrolSchema {
		return invalid("schema", "want %d", EnrolSchema)
	}
	if err := firstOf(oneOf("status", a.Status, enrolStatuses), checkID("nonce", a.Nonce), named("box", CheckBox(a.Box)),
		checkHash("csr", a.CSR), text("seal", a.Seal, 1, 64), text("detail", a.Detail, 0, maxDetail)); err != nil {
		return err
	}
	granted := a.EID != "" || a.Broker != "" || a.Certificate != "" || a.CA != "" || len(a.Keys) > 0
	switch {
	case (a.Status == EnrolPending) != (a.RetryAfter != 0) || a.RetryAfter < 0 || a.RetryAfter > maxRetry:
		return invalid("retry_after", "want 1 to %d of pending, none of others", maxRetry)
	case a.Status != EnrolRejected && a.Reason != "":
		return invalid("reason", "only of rejected")
	case a.Status != EnrolAccepted && granted:
		return invalid("status", "only accepted grants something")
	case a.Status == EnrolRejected:
		return oneOf("reason", a.Reason, EnrolReasons())
	case a.Status == EnrolPending:
		return nil
	}
	return a.checkGrant()
}

func (a *EnrolAnswer) checkGrant() error {
	if err := firstOf(named("eid", CheckEID(a.EID)), text("broker", a.Broker, 1, maxBroker), pemText("certificate", a.Certificate, "CERTIFICATE"),
		pemText("ca", a.CA, "CERTIFICATE")); err != nil {
		return err
	}
	if !strings.HasPrefix(a.Broker, "mqtts://") {
		return invalid("broker", "want mqtts://host[:port]")
	}
	if len(a.Keys) > maxOpKeys {
		return invalid("keys", "%d at most", maxOpKeys)
	}
	for i, k := range a.Keys {
		if _, err := ParsePublicKey(k); err != nil {
			return invalid(fmt.Sprintf("keys[%d]", i), "want base64 of an Ed25519 key")
		}
	}
	return nil
}

// pemText takes nothing but PEM blocks of that type, one at least.
func pemText(path, s, kind string) error {
	if len(s) > maxPEM {
		return invalid(path, "%d bytes at most", maxPEM)
	}
	rest, n := []byte(s), 0
	for ; len(strings.TrimSpace(string(rest))) > 0; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != kind {
			n = 0
			break
		}
	}
	if n == 0 {
		return invalid(path, "want PEM of %s", kind)
	}
	return nil
}

// Answer begins the answer to a request.
func (r *EnrolRequest) Answer(status EnrolStatus) EnrolAnswer {
	return EnrolAnswer{Schema: EnrolSchema, Status: status, Nonce: r.Nonce, Box: r.Box, CSR: r.CSRHash(), Seal: r.Seal}
}

// SignEnrolAnswer checks an answer and puts it into an envelope.
func SignEnrolAnswer(a EnrolAnswer, keys ...ed25519.PrivateKey) ([]byte, error) {
	payload, err := Encode(&a)
	if err != nil {
		return nil, err
	}
	return Sign(payload, keys...)
}

// OpenEnrolAnswer takes an answer that came under that status out of its envelope. It must be signed by a known key and answer this very
// request. The errors are ErrNotOurs and those of Verify and Decode.
func OpenEnrolAnswer(status EnrolStatus, envelope []byte, keys KeySet, asked *EnrolRequest) (EnrolAnswer, error) {
	payload, _, err := Verify(envelope, keys)
	if err != nil {
		return EnrolAnswer{}, err
	}
	var a EnrolAnswer
	if err := Decode(payload, &a); err != nil {
		return EnrolAnswer{}, err
	}
	if want := asked.Answer(status); a.Status != want.Status || a.Nonce != want.Nonce || a.Box != want.Box || a.CSR != want.CSR || a.Seal != want.Seal {
		return EnrolAnswer{}, ErrNotOurs
	}
	return a, nil
}

// Prov names the topics by which a box enrols, before it has an enterprise. Make it with NewProv.
type Prov struct{ client string }

// NewProv checks the client id, which is the box's name.
func NewProv(clientID string) (Prov, error) {
	if err := CheckBox(clientID); err != nil {
		return Prov{}, err
	}
	return Prov{clientID}, nil
}

func (p Prov) topic(leaf string) string { return "/e/_/prov/" + p.client + "/" + leaf }

// CSR is where a box asks, not retained: EnrolRequest.
func (p Prov) CSR() string { return p.topic("csr") }

// Answer is where the answer comes, not retained: an Envelope around an EnrolAnswer.
func (p Prov) Answer(s EnrolStatus) string { return p.topic(string(s)) }

// Answers matches every topic of the client.
func (p Prov) Answers() string { return p.topic("+") }

// CSRs matches the CSR topic of every box.
const CSRs = "/e/_/prov/+/csr"

// parseProv takes apart what comes after /e/_/prov/.
func parseProv(client, leaf string) (Topic, error) {
	t := Topic{Kind: KindCSR, Box: client}
	if leaf != "csr" {
		t.Kind, t.Status = KindEnrol, EnrolStatus(leaf)
		if oneOf("status", t.Status, enrolStatuses) != nil {
			return Topic{}, fmt.Errorf("%w: %.80q", ErrBadTopic, leaf)
		}
	}
	return t, CheckBox(client)
}
