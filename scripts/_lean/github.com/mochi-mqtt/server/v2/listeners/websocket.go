// Stands in for efe2175a4f3be7bde654e560b3dc65c3c5d7231369cdf225c7e05362050ca095
//
// The box's broker is given its connections by a listener of the box's own, over TCP and TLS.

package listeners

import (
	"errors"
	"log/slog"
)

const TypeWS = "ws"

// absent is a listener that this build does not have.
type absent struct{ *TCP }

func (absent) Init(*slog.Logger) error { return errors.New("mochi: this build has no such listener") }

func NewWebsocket(c Config) Listener { return absent{NewTCP(c)} }
