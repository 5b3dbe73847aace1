package update

import (
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
)

// sectorSize is what a disk writes whole or not at all.
const sectorSize = 512

var (
	errPower = errors.New("the power is off")
	errIO    = errors.New("input/output error")
)

// survival is what becomes of the sectors that were written and not synced when the power goes.
type survival int

const (
	lost    survival = iota // none is there
	kept                    // all are
	prefix                  // those that were written first
	suffix                  // those that were written last
	apart                   // of some partitions all, of the others none
	subset                  // any
	rubbish                 // any, and the sector in hand is neither old nor new
	survivals
)

// power feeds every disk of a machine. Each write, sync and note counts.
type power struct {
	ops     int
	cutAt   int // of this operation; 0: never
	failAt  int // this operation fails
	forever bool
	how     survival
	off     bool
	rnd     *rand.Rand
	disks   []*disk
}

// step counts an operation; it tells whether that is to fail, or the power to go in the middle of it.
func (p *power) step() (cut bool, err error) {
	if p.off {
		return false, errPower
	}
	p.ops++
	if p.ops == p.failAt || p.forever && p.failAt > 0 && p.ops >= p.failAt {
		return false, errIO
	}
	return p.ops == p.cutAt, nil
}

type sector [sectorSize]byte

type written struct {
	number int64
	sector
}

// disk is a partition: what is on the medium, and what was written since the last sync.
type disk struct {
	*power
	size    int64
	medium  map[int64]sector
	pending []written
}

func (p *power) disk(size int64) *disk {
	d := &disk{power: p, size: size, medium: map[int64]sector{}}
	p.disks = append(p.disks, d)
	return d
}

// cut takes the power away.
func (p *power) cut() {
	p.off = true
	for _, d := range p.disks {
		n, one := p.rnd.IntN(len(d.pending)+1), p.rnd.IntN(2) == 0
		for i, w := range d.pending {
			there := false
			switch p.how {
			case kept:
				there = true
			case prefix:
				there = i < n
			case suffix:
				there = i >= n
			case apart:
				there = one
			case subset, rubbish:
				there = p.rnd.IntN(2) == 0
			}
			if p.how == rubbish && i == len(d.pending)-1 {
				for j := range w.sector {
					w.sector[j] = byte(p.rnd.Uint32())
				}
				there = true
			}
			if there {
				d.medium[w.number] = w.sector
			}
		}
		d.pending = nil
	}
}

// back gives the power back.
func (p *power) back() { p.off = false }

func (d *disk) Size() int64  { return d.size }
func (d *disk) Close() error { return nil }

func (d *disk) get(number int64) sector {
	for _, w := range slices.Backward(d.pending) {
		if w.number == number {
			return w.sector
		}
	}
	return d.medium[number]
}

func (d *disk) ReadAt(b []byte, at int64) (int, error) {
	if d.off {
		return 0, errPower
	}
	n := 0
	for n < len(b) {
		if at+int64(n) >= d.size {
			return n, io.EOF
		}
		s := d.get((at + int64(n)) / sectorSize)
		n += copy(b[n:], s[(at+int64(n))%sectorSize:])
	}
	return n, nil
}

func (d *disk) WriteAt(b []byte, at int64) (int, error) {
	if at+int64(len(b)) > d.size {
		return 0, io.ErrShortWrite
	}
	cut, err := d.step()
	if err == errPower {
		return 0, err
	}
	all := b
	if err != nil { // some of it may be there all the same
		b = b[:d.rnd.IntN(len(b)+1)]
	}
	for n := 0; n < len(b); {
		number := (at + int64(n)) / sectorSize
		s := d.get(number)
		n += copy(s[(at+int64(n))%sectorSize:], b[n:])
		d.pending = append(d.pending, written{number, s})
	}
	if cut {
		d.cut()
		err = errPower
	}
	if err != nil {
		return 0, err
	}
	return len(all), nil
}

func (d *disk) Sync() error {
	cut, err := d.step()
	if err != nil {
		return err
	}
	if cut {
		d.cut()
		return errPower
	}
	for _, w := range d.pending {
		d.medium[w.number] = w.sector
	}
	d.pending = nil
	return nil
}

// notes is a Store that keeps the old or the new record when the power goes.
type notes struct {
	*power
	rec Record
}

func (n *notes) Load() (Record, error) { return n.rec, nil }

func (n *notes) Save(r Record) error {
	cut, err := n.step()
	if err != nil {
		return err
	}
	r.Head = slices.Clone(r.Head)
	if cut {
		n.cut()
		if n.rnd.IntN(2) == 0 {
			n.rec = r
		}
		return errPower
	}
	n.rec = r
	return nil
}

// labelled is a Disk.
type labelled map[string]*disk

func (l labelled) Open(label string) (OpenDevice, error) {
	d, ok := l[label]
	if !ok {
		return nil, ErrNoSlots
	}
	return d, nil
}

// rest has everything on the medium, as it comes from the factory.
func (l labelled) rest() {
	for d := range maps.Values(l) {
		for _, w := range d.pending {
			d.medium[w.number] = w.sector
		}
		d.pending = nil
	}
}
