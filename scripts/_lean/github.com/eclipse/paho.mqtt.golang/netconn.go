// Stands in for cbd6e822bc65e6c6166ff73bdc9c43973e78f3e28b51d353271876b1a4583539
//
// The box opens its connections to brokers itself (SetCustomOpenConnectionFn); the original brings WebSocket and SOCKS.

package mqtt

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"
)

func openConnection(*url.URL, *tls.Config, time.Duration, http.Header, *WebsocketOptions, *net.Dialer) (net.Conn, error) {
	return nil, errors.New("paho: this build opens no connections of its own")
}
