// Stands in for 2e0ed041850973ee301ae25a73cf7c9f2e6fa3d17b02d10a4e01937bd0426856
//
// The box speaks MQTT over TCP and TLS only.

package mqtt

import (
	"net/http"
	"net/url"
)

// WebsocketOptions are config options for a websocket dialer.
type WebsocketOptions struct {
	ReadBufferSize  int
	WriteBufferSize int
	Proxy           ProxyFunction
}

// ProxyFunction tells the proxy for a request.
type ProxyFunction func(req *http.Request) (*url.URL, error)
