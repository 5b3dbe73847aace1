package config

import "fmt"

// Difference is one setting that is not the same in two configurations. Secrets are hidden in it.
type Difference struct{ Key, Was, Is string }

// Differences lists what differs, in the order of the table. A list whose number of entries differs is one difference.
func Differences(was, is Config) []Difference { return differences("", settings(&was), settings(&is)) }

func differences(path string, was, is section) (all []Difference) {
	for i, s := range was {
		full, other := join(path, s.key), is[i].value
		switch v := s.value.(type) {
		case section:
			all = append(all, differences(full, v, other.(section))...)
		case lister:
			a, b := v.rows(), other.(lister).rows()
			if len(a) != len(b) {
				all = append(all, Difference{full, fmt.Sprintf("%d entries", len(a)), fmt.Sprintf("%d entries", len(b))})
				continue
			}
			for n := range a {
				all = append(all, differences(fmt.Sprintf("%s[%d]", full, n), a[n], b[n])...)
			}
		case *secret:
			if o := other.(*secret); *v.to != *o.to {
				all = append(all, Difference{full, v.text(), o.text()})
			}
		default:
			if a, b := v.text(), other.text(); a != b {
				all = append(all, Difference{full, a, b})
			}
		}
	}
	return all
}
