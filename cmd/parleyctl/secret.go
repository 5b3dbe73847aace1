package main

import (
	"fmt"
	"os"
	"strings"
)

// readSecret reads a password from a file: on the command line everybody on the machine could read it.
func readSecret(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	secret := strings.TrimRight(string(raw), "\r\n")
	if secret == "" || len(secret) > 256 {
		return "", fmt.Errorf("%s: a password has 1 to 256 characters", path)
	}
	return secret, nil
}
