// Stands in for 59db7e71cab3ee6f3e9efc8f771d146066f54e138f9f200a4f118ef60f308a58
//
// The box's broker has no pages of its own.

package listeners

import "github.com/mochi-mqtt/server/v2/system"

const TypeSysInfo = "sysinfo"

func NewHTTPStats(c Config, _ *system.Info) Listener { return absent{NewTCP(c)} }
