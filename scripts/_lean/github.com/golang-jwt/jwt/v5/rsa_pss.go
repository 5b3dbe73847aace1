// Stands in for 0e50870bb770bcde546f9ce4114243905948513528b6788bbf99ff46a797b36b
//
// Tokens of the box's are signed with Ed25519 only (EdDSA); here no other algorithm exists.

package jwt
