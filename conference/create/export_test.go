package create

import "time"

// ParseQuick is Parse without the hashing.
func ParseQuick(body []byte, zone *time.Location, limits Limits) (Request, error) {
	r, _, err := parse(body, zone, limits)
	return r, err
}
