// Stands in for b940b9961ebed5c4fe9799595eed1ea707187ab2df9a699f6f31745d84d5cbbe
//
// Tokens of the box's are signed with Ed25519 only (EdDSA); here no other algorithm exists.

package jwt
