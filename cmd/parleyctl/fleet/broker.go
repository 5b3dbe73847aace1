package fleet

import (
	"os/user"
	"path/filepath"
	"strings"
)

// makeBroker writes what mosquitto needs. Its rules stand for one listener, so that others, as for people with passwords, can have
// rules of their own in the same broker.
func (f *Fleet) makeBroker(host, port string) error {
	dir, err := filepath.Abs(f.path("broker"))
	if err != nil {
		return err
	}
	listener := "listener " + port
	if isLoopback(host) {
		listener += " " + strings.Replace(host, "localhost", "127.0.0.1", 1)
	}
	if err := f.revoke(nil, f.Created); err != nil {
		return err
	}
	a, err := f.read("ca/ca.pem")
	if err != nil {
		return err
	}
	text := strings.NewReplacer("{dir}", dir, "{listener}", listener, "{user}", userName()).Replace(mosquittoConf)
	for name, content := range map[string]string{
		"broker/ca.pem": string(a), "broker/mosquitto.conf": text, "broker/acl": strings.ReplaceAll(accessRules, "{eid}", f.EID),
	} {
		if err := f.write(name, []byte(content)); err != nil {
			return err
		}
	}
	return nil
}

// userName is who made the folder, and so may read it: mosquitto, when root starts it, becomes that user.
func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "mosquitto"
}

const mosquittoConf = `# mosquitto -c {dir}/mosquitto.conf
# After a change of crl.pem (parleyctl provision release): kill -HUP $(cat {dir}/mosquitto.pid), and who is already connected stays so until he goes.
user {user}
pid_file {dir}/mosquitto.pid
per_listener_settings true
persistence true
persistence_location {dir}/store/
# What boxes are told by retained messages must be there when the broker comes back.
autosave_interval 30
max_packet_size 262144
max_queued_messages 100000

{listener}
cafile {dir}/ca.pem
certfile {dir}/server.pem
keyfile {dir}/server.key
crlfile {dir}/crl.pem
tls_version tlsv1.2
require_certificate true
use_identity_as_username true
allow_anonymous false
acl_file {dir}/acl
`

// accessRules are those of mqtt/wire/PROTOCOL.md for a broker where everybody but operator and claim is a box.
const accessRules = `# Who asks to be taken in. It is the same certificate in every fresh box, so that it may do nothing else.
user claim
topic deny /e/{eid}/#
pattern write /e/_/prov/%c/csr
pattern read /e/_/prov/%c/+

# Who runs the fleet: parleyctl provision.
user operator
topic readwrite /e/{eid}/#
topic readwrite /e/_/prov/#

# A box, for its own topics. Of its state it hears what others write there, so as to correct it.
pattern write /e/{eid}/box/%u/state
pattern read /e/{eid}/box/%u/state
pattern write /e/{eid}/box/%u/info
pattern write /e/{eid}/box/%u/res/+
pattern write /e/{eid}/box/%u/keys
pattern write /e/{eid}/box/%u/mute
pattern write /e/{eid}/box/%u/call
pattern write /e/{eid}/box/%u/alert/+
pattern write /e/{eid}/box/%u/tele
pattern write /e/{eid}/box/%u/levels
pattern write /e/{eid}/box/%u/load
pattern write /e/{eid}/box/%u/log
pattern write /e/{eid}/box/%u/support
pattern write /e/{eid}/box/%u/config/reported
pattern write /e/{eid}/box/%u/fw/reported
pattern read /e/{eid}/box/%u/cmd/+
pattern read /e/{eid}/box/%u/levels/lease
pattern read /e/{eid}/box/%u/bookings
pattern read /e/{eid}/box/%u/config/desired
pattern read /e/{eid}/box/%u/fw/desired

# A box mixes, and so serves whoever is in its conferences.
pattern write /e/{eid}/conf/+/notice
pattern read /e/{eid}/conf/+/notice
pattern write /e/{eid}/conf/+/state
pattern read /e/{eid}/conf/+/state
pattern write /e/{eid}/conf/+/cmd
pattern read /e/{eid}/conf/+/cmd
pattern read /e/{eid}/u/+/cmd
pattern write /e/{eid}/u/+/notice
pattern read /e/{eid}/u/%u/notice
pattern write /e/{eid}/im/u/+
pattern read /e/{eid}/im/u/+
`
