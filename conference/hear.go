package conference

// Hearing gives for each member who hears anything the members whom he hears, by id, in roster order. Nobody hears
// himself, although his id may be in his list: all in one room who hear share one list, which is not to be changed. Who
// waits in the lobby hears nobody and is heard by nobody.
func (c *Conference) Hearing() map[string][]string {
	hearing := make(map[string][]string, len(c.members))
	if c.at.Mode == ByMessages {
		return hearing
	}
	heard := map[string][]string{Hall: {}}
	for _, r := range c.at.Rooms {
		heard[r.ID] = []string{}
	}
	for _, m := range c.members {
		if c.speaks(m) {
			heard[m.Room] = append(heard[m.Room], m.ID)
		}
	}
	for _, m := range c.members {
		if m.Hears() && m.Room != Lobby {
			hearing[m.ID] = heard[m.Room]
		}
	}
	return hearing
}

// Heard tells whether the member's sound reaches anybody now: his mutes, the house's microphones, the floor and the room counted.
func (c *Conference) Heard(id string) bool {
	m := c.find(id)
	return m != nil && c.speaks(m)
}

// speaks derives what is stored on nobody: house and floor count in the hall.
func (c *Conference) speaks(m *Member) bool {
	switch {
	case !m.Heard() || c.at.Mode == ByMessages || m.Room == Lobby:
		return false
	case m.Room != Hall:
		return true
	}
	return (!c.at.House || m.Role == Chair) && (!c.at.Queued() || m.Floor == FloorHeld)
}
