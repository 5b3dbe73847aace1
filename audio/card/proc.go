package card

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
)

// maxProc bounds what is read of the kernel's lists, bytes.
const maxProc = 64 << 10

// procDevices lists the sound devices from the kernel's own tables ("cards" and "pcm" below /proc/asound), which are right
// at any moment and need no library. A machine without sound has neither: that is an empty list.
func procDevices(asound fs.FS) ([]Device, error) {
	cards, err := asound.Open("cards")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("card: list: %w", err)
	}
	defer cards.Close()
	ids := parseCards(io.LimitReader(cards, maxProc))
	pcm, err := asound.Open("pcm")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("card: list: %w", err)
	}
	defer pcm.Close()
	return parsePCM(io.LimitReader(pcm, maxProc), ids), nil
}

type cardName struct{ id, name string }

// parseCards reads lines such as " 1 [Device         ]: USB-Audio - USB PnP Sound Device"; others are passed over.
func parseCards(r io.Reader) map[int]cardName {
	ids := make(map[int]cardName)
	for lines := bufio.NewScanner(r); lines.Scan(); {
		number, rest, ok := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || !strings.HasPrefix(rest, "[") {
			continue
		}
		id, name, ok := strings.Cut(rest[1:], "]:")
		if !ok {
			continue
		}
		if _, long, ok := strings.Cut(name, " - "); ok {
			name = long
		}
		ids[n] = cardName{strings.TrimSpace(id), strings.TrimSpace(name)}
	}
	return ids
}

// parsePCM reads lines such as "01-00: USB Audio : USB Audio : playback 1 : capture 1".
func parsePCM(r io.Reader, ids map[int]cardName) []Device {
	var list []Device
	for lines := bufio.NewScanner(r); lines.Scan(); {
		address, rest, ok := strings.Cut(lines.Text(), ":")
		c, d, ok2 := strings.Cut(address, "-")
		cardNo, err := strconv.Atoi(c)
		device, err2 := strconv.Atoi(d)
		if !ok || !ok2 || err != nil || err2 != nil {
			continue
		}
		names, known := ids[cardNo]
		if !known {
			names = cardName{c, "card " + c}
		}
		dev := Device{ID: fmt.Sprintf("plughw:CARD=%s,DEV=%d", names.id, device), Name: names.name, Card: cardNo}
		for field := range strings.SplitSeq(rest, ":") {
			field = strings.TrimSpace(field)
			dev.Playback = dev.Playback || strings.HasPrefix(field, "playback ")
			dev.Capture = dev.Capture || strings.HasPrefix(field, "capture ")
		}
		list = append(list, dev)
	}
	return list
}
