package update

import "golang.org/x/sys/unix"

// forget has what is read next come from the medium and not from memory.
func forget(d Device) {
	if f, ok := d.(*file); ok {
		unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	}
}
