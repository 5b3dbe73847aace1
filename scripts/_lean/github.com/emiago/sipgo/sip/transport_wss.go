// Stands in for 0c08c0500ebbafa4733c392bebf33c09ff1b2bd658962269f83d55db48f70ea3
//
// The box speaks SIP over UDP, TCP and TLS only.

package sip

import "crypto/tls"

// TransportWSS has the place of SIP over WebSocket over TLS, and refuses everything.
type TransportWSS struct {
	*TransportWS
}

func (t *TransportWSS) init(p *Parser, _ *tls.Config) { t.TransportWS.init(p) }
