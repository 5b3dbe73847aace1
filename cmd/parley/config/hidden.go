package config

// Hidden gives the text of every secret that is set, for whoever takes them out of other texts.
func (c Config) Hidden() []string { return hiddenBelow(settings(&c)) }

func hiddenBelow(fields section) (all []string) {
	for _, s := range fields {
		switch v := s.value.(type) {
		case *secret:
			if v.to.Given() {
				all = append(all, v.to.Reveal())
			}
		case section:
			all = append(all, hiddenBelow(v)...)
		case lister:
			for _, row := range v.rows() {
				all = append(all, hiddenBelow(row)...)
			}
		}
	}
	return all
}
