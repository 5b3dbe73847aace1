package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
)

// relay hands on what comes to one address to another, and back, until it is killed. A program on the host calls itself 127.0.0.1, which is
// the guest here: what is sent to it there is brought to the host.
func relay(args []string) error {
	if len(args) == 3 && args[0] == "udp" {
		return relayUDP(args[1], args[2])
	}
	if len(args) == 3 && args[0] == "tcp" {
		return relayTCP(args[1], args[2])
	}
	return errors.New("relay udp|tcp FROM TO")
}

func relayUDP(fromAddr, toAddr string) error {
	from, err := net.ListenPacket("udp", fromAddr)
	if err != nil {
		return err
	}
	to, err := net.Dial("udp", toAddr)
	if err != nil {
		return err
	}
	var back atomic.Value // a net.Addr
	go func() {
		for buf := make([]byte, 65536); ; {
			n, err := to.Read(buf)
			if addr, ok := back.Load().(net.Addr); err == nil && ok {
				from.WriteTo(buf[:n], addr)
			}
		}
	}()
	for buf := make([]byte, 65536); ; {
		n, addr, err := from.ReadFrom(buf)
		if err != nil {
			return err
		}
		back.Store(addr)
		to.Write(buf[:n])
	}
}

func relayTCP(from, to string) error {
	listener, err := net.Listen("tcp", from)
	if err != nil {
		return err
	}
	for {
		near, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer near.Close()
			far, err := net.Dial("tcp", to)
			if err != nil {
				fmt.Println(err)
				return
			}
			defer far.Close()
			go func() {
				io.Copy(near, far)
				near.Close()
			}()
			io.Copy(far, near)
		}()
	}
}
