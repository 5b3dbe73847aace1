// Stands in for 5dfd7fa9dff8217748dcfc4dae0ca40f321f17203c5b9f3ce0f85141ac396615
//
// Tokens of the box's are signed with Ed25519 only (EdDSA); here no other algorithm exists.

package jwt
