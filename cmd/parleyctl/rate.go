package main

import (
	"math"

	"parley/audio"
)

func decibels(db float64) float64 { return math.Pow(10, db/20) }

// convert changes the rate of sound that was read whole.
func convert(pcm []int16, from, to int) ([]int16, error) {
	if from == to {
		return pcm, nil
	}
	r, err := audio.NewResampler(from, to)
	if err != nil {
		return nil, err
	}
	in, out := from/100, to/100
	var all []int16
	for frame := make([]int16, out); len(pcm) >= in; pcm = pcm[in:] {
		r.Convert16(pcm[:in], frame)
		all = append(all, frame...)
	}
	return all, nil
}
