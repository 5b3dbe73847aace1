// Stands in for 05d8223a732bd95a7f2f4cc77c7987b263eb1f12f26a855013d3b746153730e1
//
// Tokens of the box's are signed with Ed25519 only (EdDSA); here no other algorithm exists.

package jwt
