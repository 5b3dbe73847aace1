// Stands in for 2cd25e5a7b0f18d6e8f7aa25bc756b53fb817e37c37040fe9271bc6cd631baab
//
// Tokens of the box's are signed with Ed25519 only (EdDSA); here no other algorithm exists.

package jwt
