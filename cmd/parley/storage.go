package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	storagePause = 5 * time.Second // between two looks at the disk
	leastFree    = 256 << 10       // bytes; with less the disk is full
)

// watchStorage looks how the data folder's disk is, until ctx ends, and has the alert `storage` say what is wrong. Nothing waits for the
// disk: a box without one goes on answering calls.
func (b *box) watchStorage(ctx context.Context) error {
	look := time.NewTicker(storagePause)
	defer look.Stop()
	for {
		text := storageFault(b.data.dir)
		b.house.post(func() { b.house.fault("storage", text != "", text) })
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
	}
}

// storageFault is what is wrong with a folder's disk, without a change of it; empty when all is well.
func storageFault(dir string) string {
	var disk unix.Statfs_t
	err := unix.Statfs(dir, &disk)
	if err == nil {
		err = unix.Access(dir, unix.W_OK)
	}
	switch free := disk.Bavail * uint64(disk.Bsize); {
	case err != nil:
		return fmt.Sprintf("nothing can be kept: %s: %v", dir, err)
	case free < leastFree:
		return fmt.Sprintf("nothing more can be kept: the disk is full, %d bytes are free", free)
	}
	return ""
}
