// Package buildroot is the image of a whole box: a tree for Buildroot (BR2_EXTERNAL) that puts kernel, boot loader and the box's one
// program on a disk with two slots. What a board needs of its own stands in board/NAME. This file has the facts that the tree, its
// scripts and its test share; the tree is linted by the test. It must not know what the program does.
package buildroot

// Release is the version of Buildroot that the tree is written for, a long-term one.
const Release = "2025.02.16"

// BoardFiles is what the folder of a flashed board has to hold, by what the board is.
func BoardFiles(virtual, raspberry bool) []string {
	files := []string{"genimage.cfg", "kernel.load", "linux.fragment", "mixer/default"}
	if !virtual { // QEMU makes its own device tree
		files = append(files, "parley.dtso")
	}
	if raspberry { // started by a firmware with a configuration of its own
		files = append(files, "config.txt")
	}
	return files
}
