package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// bom is a bill of materials, in the words of CycloneDX 1.5.
type bom struct {
	Format       string       `json:"bomFormat"`
	Spec         string       `json:"specVersion"`
	Serial       string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Component *component `json:"component"`
}

type component struct {
	Type       string      `json:"type"`
	Ref        string      `json:"bom-ref"`
	Name       string      `json:"name"`
	Version    string      `json:"version,omitempty"`
	Hashes     []digest    `json:"hashes,omitempty"`
	Licenses   []choice    `json:"licenses,omitempty"`
	CPE        string      `json:"cpe,omitempty"`
	PURL       string      `json:"purl,omitempty"`
	Modified   bool        `json:"modified,omitempty"`
	Pedigree   *pedigree   `json:"pedigree,omitempty"`
	References []reference `json:"externalReferences,omitempty"`
	Properties []property  `json:"properties,omitempty"`
	Components []component `json:"components,omitempty"`
}

type digest struct {
	Alg     string `json:"alg"`
	Content string `json:"content"`
}

// choice is a licence by its SPDX id, or an SPDX expression; one of the two.
type choice struct {
	License    *spdx  `json:"license,omitempty"`
	Expression string `json:"expression,omitempty"`
}

type spdx struct {
	ID string `json:"id"`
}

type pedigree struct {
	Notes string `json:"notes"`
}

type reference struct {
	Type   string   `json:"type"`
	URL    string   `json:"url"`
	Hashes []digest `json:"hashes"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

// seal adds what follows from the components: that the firmware depends on all of them, and a serial number that is theirs.
func (b *bom) seal() {
	all := []string{}
	for _, c := range b.Components {
		all = append(all, c.Ref)
	}
	b.Dependencies = []dependency{{b.Metadata.Component.Ref, all}}
	text, _ := json.Marshal(b) // strings, numbers and lists always marshal
	sum := sha256.Sum256(text)
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80 // version 8 (RFC 9562): our own
	b.Serial = fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// licence writes an id, or an expression of several.
func licence(text string) []choice {
	if strings.Contains(text, " ") {
		return []choice{{Expression: text}}
	}
	return []choice{{License: &spdx{text}}}
}

// marks tell a licence by what no other one says. The first whose words are all there holds.
var marks = []struct {
	id    string
	words []string
}{
	{"EPL-2.0 OR BSD-3-Clause", []string{"eclipse public license v2.0 and eclipse distribution license v1.0"}},
	{"MIT AND Apache-2.0", []string{"covered by two different licenses: mit and apache"}},
	{"Apache-2.0", []string{"apache license version 2.0, january 2004"}},
	{"MPL-2.0", []string{"mozilla public license version 2.0"}},
	{"BSD-3-Clause", []string{"redistributions of source code must retain", "redistributions in binary form must reproduce", "neither the name"}},
	{"BSD-2-Clause", []string{"redistributions of source code must retain", "redistributions in binary form must reproduce"}},
	{"MIT", []string{"permission is hereby granted, free of charge", "the above copyright notice and this permission notice shall be included"}},
	{"ISC", []string{"permission to use, copy, modify, and/or distribute this software for any purpose"}},
	{"Unlicense", []string{"this is free and unencumbered software released into the public domain"}},
}

var errNoLicence = errors.New("no licence that is known here")

// readLicence finds the licence that stands in a module's folder.
func readLicence(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return "", err
	}
	for _, f := range files {
		base := strings.ToLower(filepath.Base(f))
		if !strings.HasPrefix(base, "licen") && !strings.HasPrefix(base, "copying") {
			continue
		}
		raw, err := os.ReadFile(f)
		if err != nil {
			continue // a folder
		}
		text := strings.ToLower(strings.Join(strings.Fields(string(raw)), " "))
		for _, m := range marks {
			if !slices.ContainsFunc(m.words, func(w string) bool { return !strings.Contains(text, w) }) {
				return m.id, nil
			}
		}
	}
	return "", errNoLicence
}
