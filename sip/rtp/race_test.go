//go:build race

package rtp

const skewMinutes = 5 // under the race detector everything takes ten times as long
