//go:build !race

package card_test

const slow = false
