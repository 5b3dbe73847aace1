package card

import (
	_ "embed"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// alsaConf is what alsa-lib has to be told to know any card, for machines that have no such file.
//
//go:embed alsa.conf
var alsaConf []byte

// systemALSA is where alsa-lib looks by itself.
const systemALSA = "/usr/share/alsa/alsa.conf"

// ProvideALSA gives alsa-lib a configuration on machines that have none, such as a board with nothing but this program: it
// writes one into folder and names it in the process's environment. To be called before the first Card or System is used.
func ProvideALSA(folder string) error {
	if os.Getenv("ALSA_CONFIG_PATH") != "" {
		return nil
	}
	if _, err := os.Stat(systemALSA); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	path := filepath.Join(folder, "alsa.conf")
	if old, err := os.ReadFile(path); err != nil || string(old) != string(alsaConf) {
		if err := os.WriteFile(path, alsaConf, 0o600); err != nil {
			return err
		}
	}
	return os.Setenv("ALSA_CONFIG_PATH", path)
}
