package g722

// The names are those of ITU-T G.722, clause 5 and 6: SL, DET, NB and so on; its arithmetic is of 16 bits that saturate.

// band is the adaptive predictor and quantiser of one of the two sub-bands. Encoder and decoder keep the same one, which
// is how the decoder follows without being told.
type band struct {
	s, sz  int32    // the predicted signal, and the zeros' part of it
	det    int32    // the quantiser's step
	nb     int32    // its logarithm
	a1, a2 int32    // the two poles
	p1, p2 int32    // the last two partly reconstructed signals
	r1, r2 int32    // and reconstructed ones
	b, d   [6]int32 // the six zeros, and the differences that they look at, the newest first
}

func sat(v int32) int32 { return max(-32768, min(32767, v)) }

// same tells whether two values have one sign; zero is positive.
func same(a, b int32) bool { return a^b >= 0 }

// adapt goes on by one sample, whose quantised difference was d.
func (b *band) adapt(d int32) {
	p, r := sat(b.sz+d), sat(b.s+d)
	b.poles(p)
	b.zeros(d)
	b.p1, b.p2 = p, b.p1
	b.r1, b.r2 = r, b.r1
	sp := sat(b.a1*sat(2*b.r1)>>15 + b.a2*sat(2*b.r2)>>15)
	sz := int32(0)
	for i, c := range b.b {
		sz += c * sat(2*b.d[i]) >> 15
	}
	b.sz = sat(sz)
	b.s = sat(sp + b.sz)
}

// poles is UPPOL2 and UPPOL1.
func (b *band) poles(p int32) {
	turn, first, step := sat(4*b.a1), int32(-192), int32(-128)
	if same(p, b.p1) {
		turn, first = min(32767, -turn), 192
	}
	if same(p, b.p2) {
		step = 128
	}
	a2 := turn>>7 + step + b.a2*32512>>15
	b.a2 = max(-12288, min(12288, a2))
	limit := 15360 - b.a2
	b.a1 = max(-limit, min(limit, sat(first+b.a1*32640>>15)))
}

// zeros is UPZERO, and the shift of the differences.
func (b *band) zeros(d int32) {
	step := int32(128)
	if d == 0 {
		step = 0
	}
	for i := range b.b {
		by := -step
		if same(d, b.d[i]) {
			by = step
		}
		b.b[i] = sat(by + b.b[i]*32640>>15)
	}
	copy(b.d[1:], b.d[:5])
	b.d[0] = d
}

// scale is LOGSCL and SCALEL (or LOGSCH and SCALEH): the step for the next sample.
func (b *band) scale(by, most, shift int32) {
	b.nb = max(0, min(most, b.nb*127>>7+by))
	v := ilb[b.nb>>6&31]
	if n := shift - b.nb>>11; n < 0 {
		v <<= -n
	} else {
		v >>= n
	}
	b.det = v << 2
}

// low goes on by one 6-bit code of the lower band. Only its upper four bits count: the lower two may be taken for data on
// the way.
func (b *band) low(code int32) {
	four := code >> 2
	d := b.det * qm4[four] >> 15
	b.scale(wl[four], 18432, 8)
	b.adapt(d)
}

// high goes on by one 2-bit code of the upper band, and returns its difference.
func (b *band) high(code int32) (d int32) {
	d = b.det * qm2[code] >> 15
	b.scale(wh[code], 22528, 10)
	b.adapt(d)
	return d
}

// quantLow is QUANTL: the 6-bit code of a difference.
func (b *band) quantLow(el int32) int32 {
	wd := el
	if el < 0 {
		wd = ^el
	}
	m := int32(0)
	for m < 29 && wd >= q6[m]*b.det>>12 {
		m++
	}
	switch {
	case el >= 0:
		return 61 - m
	case m < 2:
		return 63 - m
	}
	return 33 - m
}

// quantHigh is QUANTH: the 2-bit code of a difference.
func (b *band) quantHigh(eh int32) int32 {
	wd, code := eh, int32(3)
	if eh < 0 {
		wd, code = ^eh, 1
	}
	if wd >= b.det*564>>12 {
		code--
	}
	return code
}
