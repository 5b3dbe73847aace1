//go:build !race

package rtp

const skewMinutes = 60
