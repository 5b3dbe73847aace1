// Stands in for 851b30cb69b6cdd7e2c0fb18f5e7c6591092aeacdb93221191cbd2f3cfd0da7b
//
// Tokens of the box's are signed with Ed25519 only (EdDSA); here no other algorithm exists.

package jwt

import "errors"

// ErrKeyMustBePEMEncoded: the readers of Ed25519 keys answer it, too.
var ErrKeyMustBePEMEncoded = errors.New("invalid key: Key must be a PEM encoded PKCS1 or PKCS8 key")
