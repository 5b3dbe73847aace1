package main

func (b *box) makeWeb() error { return nil }

// readiness lists what is waited for before the box calls itself ready.
func (b *box) readiness() []<-chan struct{} { return []<-chan struct{}{b.agent.Ready()} }
