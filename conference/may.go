package conference

import "time"

// Restore makes the conference of which s is the snapshot.
func Restore(s Snapshot) *Conference {
	c := New(s.Rules)
	c.seq = s.Seq
	for _, m := range s.Members {
		o := m.clone()
		c.members = append(c.members, &o)
	}
	return c
}

// Phase tells how far the conference has come.
func (c *Conference) Phase() Phase { return Open }

// Rules are what the conference was made with; End is where it was moved to.
func (c *Conference) Rules() Rules { return c.rules }

// Due is when Pass next has something to do: zero: never; a time in the past: at once.
func (c *Conference) Due() time.Time { return time.Time{} }

// Can lists what people may ask for that by may do, with the rights of his token.
func (c *Conference) Can(by Actor, may []Right) []Do { return nil }

// Heard tells whether the member's sound reaches anybody now: reasons, house, floor and room counted.
func (c *Conference) Heard(id string) bool { m := c.find(id); return m != nil && m.Heard() }

// Line is the roster line that waits for whoever calls in from that number: the one of an absent member.
func (c *Conference) Line(number string) (Member, bool) { return Member{}, false }
