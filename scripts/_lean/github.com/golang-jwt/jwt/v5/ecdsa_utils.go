// Stands in for f5aff8257bd231d2a5af8b0bc9f64e894fab3b55e309a69cd6e6438909994d5d
//
// Tokens of the box's are signed with Ed25519 only (EdDSA); here no other algorithm exists.

package jwt
