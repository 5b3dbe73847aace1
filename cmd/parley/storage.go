package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	storagePause = 5 * time.Second // between two looks at the disk
	leastFree    = 256 << 10       // bytes; with less the disk is full
	// noData is there if the image could not use its data partition, and has put memory in its place (buildroot/package/parley/storage).
	noData = "/run/parley.nodata"
)

// watchStorage looks how the data folder's disk is, until ctx ends, and has the alert `storage` say what is wrong. Nothing waits for the
// disk: a box without one goes on answering calls.
func (b *box) watchStorage(ctx context.Context) error {
	look := time.NewTicker(storagePause)
	defer look.Stop()
	for {
		text := storageFault(b.data.dir, noData)
		b.house.post(func() { b.house.fault("storage", text != "", text) })
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
	}
}

// storageFault is what is wrong with a folder's disk, without a change of it; empty when all is well. inMemory is a file that is there if
// the folder is in memory only.
func storageFault(dir, inMemory string) string {
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
	if _, err := os.Stat(inMemory); err == nil {
		return "what is kept now is lost with the power: the data partition cannot be used"
	}
	return ""
}
