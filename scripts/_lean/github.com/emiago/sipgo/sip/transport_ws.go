// Stands in for 0c8c64f151e2462c1b48d41d649e740664e6c64293664dc8b2c31801944146b7
//
// The box speaks SIP over UDP, TCP and TLS only.

package sip

import (
	"context"
	"errors"
	"log/slog"
	"net"
)

var errNoWebSocket = errors.New("sipgo: this build has no WebSocket")

// TransportWS has the place of SIP over WebSocket, and refuses everything.
type TransportWS struct {
	log             *slog.Logger
	readFilter      TransportReadFilter
	connectionReuse bool
	pool            *ConnectionPool
	onConnClose     func(conn Connection)

	DialURI func(host string) string
}

func (t *TransportWS) init(*Parser) { t.pool = newConnectionPool() }

func (t *TransportWS) Close() error { return t.pool.Clear() }

func (t *TransportWS) Serve(net.Listener, MessageHandler) error { return errNoWebSocket }

func (t *TransportWS) GetConnection(string) Connection { return nil }

func (t *TransportWS) CreateConnection(context.Context, Addr, Addr, MessageHandler) (Connection, error) {
	return nil, errNoWebSocket
}
