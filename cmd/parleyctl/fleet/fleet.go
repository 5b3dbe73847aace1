// Package fleet is the central side's folder: the operator's keys, the authority that signs certificates, what a broker needs, the list
// of who may enrol, and what is known of each box. It decides about requests to enrol and makes signed settings.
//
// It knows files and keys, and nothing of how messages travel: no MQTT client, no terminal.
//
//	fleet.json      enterprise and broker
//	operator.key    signs answers, settings and commands; operator.pub is its public half
//	allowed         who may enrol: one serial number or box's name per line
//	ca/             the authority that signs the certificates of broker, boxes, operator and claim
//	mqtt/           the operator's own certificate at the broker
//	claim/          the certificate with which a fresh box asks, the same for the whole fleet
//	broker/         mosquitto's settings, rules and certificate
//	boot/           provision.yaml, which goes onto every SD card
//	boxes/          one file for each box that has enrolled
//	desired/        the settings that each box was told last, secrets sealed
package fleet

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"parley/mqtt/wire"
)

// What a call can be refused for.
var (
	// ErrNoFleet: the folder is none that Create has made.
	ErrNoFleet = errors.New("no fleet")
	// ErrUnknownBox: no box of that name has enrolled.
	ErrUnknownBox = errors.New("unknown box")
	// ErrInvalid: what was given cannot be used.
	ErrInvalid = errors.New("invalid")
)

// maxFile is the longest file of the folder that is read, in bytes.
const maxFile = 8 << 20

// Info is what fleet.json holds.
type Info struct {
	EID     string    `json:"eid"`
	Broker  string    `json:"broker"` // mqtts://host:port
	Hosts   []string  `json:"hosts"`  // names and addresses in the broker's certificate
	Created time.Time `json:"created"`
}

// Fleet is an opened folder. Its methods may be called from any goroutine, and by several processes at a time.
type Fleet struct {
	Info
	dir      string
	operator ed25519.PrivateKey
}

// Options say what Create makes.
type Options struct {
	EID    string
	Broker string   // mqtts://host:port
	Hosts  []string // further names and addresses under which the broker is reached
	Now    time.Time
}

// Create makes a folder with everything in it. One that is there already is left alone; the error then wraps fs.ErrExist.
func Create(dir string, o Options) (*Fleet, error) {
	if err := wire.CheckEID(o.EID); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	host, port, err := brokerAddress(o.Broker)
	if err != nil {
		return nil, err
	}
	f := &Fleet{dir: dir, Info: Info{EID: o.EID, Broker: o.Broker, Hosts: append([]string{host}, o.Hosts...), Created: o.Now.UTC().Truncate(time.Second)}}
	if _, err := os.Stat(f.path("fleet.json")); err == nil {
		return nil, fmt.Errorf("%s holds a fleet: %w", dir, fs.ErrExist)
	}
	for _, sub := range []string{"", "ca", "mqtt", "claim", "broker", "broker/store", "boot", "boxes", "desired"} {
		if err := os.MkdirAll(f.path(sub), 0o700); err != nil {
			return nil, err
		}
	}
	if f.operator, err = wire.LoadOrCreateKey(f.path("operator.key")); err != nil {
		return nil, err
	}
	pub := f.operator.Public().(ed25519.PublicKey)
	if err := f.write("operator.pub", []byte(wire.EncodePublicKey(pub)+"\n")); err != nil {
		return nil, err
	}
	if err := errors.Join(f.makeCertificates(), f.makeBroker(host, port), f.makeBoot(), f.makeList()); err != nil {
		return nil, err
	}
	// Last, so that a folder that was made by half is made again.
	return f, f.writeJSON("fleet.json", f.Info)
}

// Open opens a folder that Create has made.
func Open(dir string) (*Fleet, error) {
	f := &Fleet{dir: dir}
	if err := f.readJSON("fleet.json", &f.Info); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w in %s: make one with parleyctl provision init", ErrNoFleet, dir)
		}
		return nil, err
	}
	var err error
	f.operator, err = wire.LoadKey(f.path("operator.key"))
	return f, err
}

// brokerAddress takes a broker's URL apart.
func brokerAddress(broker string) (host, port string, err error) {
	u, err := url.Parse(broker)
	if err != nil || u.Scheme != "mqtts" || u.Hostname() == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		return "", "", fmt.Errorf("%w: the broker's URL must be like mqtts://broker.example.com:8883: boxes enrol over TLS only", ErrInvalid)
	}
	port = u.Port()
	if port == "" {
		port = "8883"
	}
	return u.Hostname(), port, nil
}

// Dir is the folder.
func (f *Fleet) Dir() string { return f.dir }

// Operator is the key that answers, settings and commands are signed with.
func (f *Fleet) Operator() ed25519.PrivateKey { return f.operator }

// Keys are those by whose signature boxes know the operator.
func (f *Fleet) Keys() wire.KeySet { return wire.NewKeySet(f.operator.Public().(ed25519.PublicKey)) }

// Topics names a box's topics in this fleet's enterprise.
func (f *Fleet) Topics(box string) (wire.Box, error) { return wire.NewBox(f.EID, box) }

// Access is what the operator needs to get in at the broker.
func (f *Fleet) Access() (ca *x509.CertPool, own *tls.Certificate, err error) {
	raw, err := f.read("ca/ca.pem")
	if err != nil {
		return nil, nil, err
	}
	ca = x509.NewCertPool()
	if !ca.AppendCertsFromPEM(raw) {
		return nil, nil, fmt.Errorf("%w: %s has no certificate", ErrInvalid, f.path("ca/ca.pem"))
	}
	pair, err := tls.LoadX509KeyPair(f.path("mqtt/operator.pem"), f.path("mqtt/operator.key"))
	return ca, &pair, err
}

func (f *Fleet) path(name string) string { return filepath.Join(f.dir, filepath.FromSlash(name)) }

func (f *Fleet) read(name string) ([]byte, error) {
	file, err := os.Open(f.path(name))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%w: %s has more than %d bytes", ErrInvalid, f.path(name), maxFile)
	}
	return b, err
}

func (f *Fleet) readJSON(name string, v any) error {
	b, err := f.read(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", f.path(name), err)
	}
	return nil
}

func (f *Fleet) writeJSON(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return f.write(name, append(b, '\n'))
}

// write replaces a file whole: after a power cut it holds the old content or the new.
func (f *Fleet) write(name string, content []byte) error {
	path := f.path(name)
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	if _, err = temp.Write(content); err == nil {
		err = temp.Sync()
	}
	if e := temp.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// locked runs change while no other process changes the folder.
func (f *Fleet) locked(change func() error) error {
	lock, err := os.OpenFile(f.path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	return change()
}

// Serving makes this process the only one that answers requests, until release is called.
func (f *Fleet) Serving() (release func(), err error) {
	lock, err := os.OpenFile(f.path("serving"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("another parleyctl provision serve runs on %s", f.dir)
	}
	return func() { lock.Close() }, nil
}

// isLoopback tells whether only this machine reaches a host.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
