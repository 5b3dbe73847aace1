package config

// Secrets gives the full names of all settings that are secret, such as "mqtt.password"; an entry of a list is name[].
func Secrets() []string {
	var c Config
	return secretsBelow("", settings(&c))
}

func secretsBelow(path string, fields section) (all []string) {
	for _, s := range fields {
		full := join(path, s.key)
		switch v := s.value.(type) {
		case *secret:
			all = append(all, full)
		case section:
			all = append(all, secretsBelow(full, v)...)
		case lister:
			all = append(all, secretsBelow(full+"[]", v.sample())...)
		}
	}
	return all
}
