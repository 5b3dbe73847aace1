//go:build race

package card_test

// The race detector makes the arithmetic twenty times slower.
const slow = true
