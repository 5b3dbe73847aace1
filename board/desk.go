package board

// desk is any computer: keys and lamps on the terminal, and its sound card, or files where there is none.
func desk() Board {
	return Board{
		Name:     "desk",
		Title:    "any computer; keys and lamps on the terminal",
		Terminal: true,
		Card:     "auto",
	}
}
