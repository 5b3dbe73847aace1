// Package sip is the box's telephone: it answers and places calls by SIP (RFC 3261) and joins each to an rtp.Leg, which is
// the mixer's port.
//
// The way of an incoming INVITE, and where to read on:
//
//	socket → guard (strict, canonical) → listen.go → sipgo's transport and transaction layers
//	       → inbound.go  (arrival order, admission, which call)
//	       → uas.go      (the call's own goroutine: Handler.Incoming, Ring, Answer, 200 until ACK)
//	       → media.go    (offer/answer by sdp, Leg by rtp)
//
// An outgoing call goes Dial → uac.go → target.go (where, over what) → request.go (transaction) → media.go. What happens
// inside a dialog is in dialog.go (what a dialog is), inside.go (its requests, up to BYE), ack.go, reinvite.go (hold, codec,
// address), session.go (RFC 4028), info.go, refer.go. A call takes another's place by replaces.go, and outlives the program by saved.go
// (what is kept of it) and restore.go. Beside the calls there are register.go (we at a PBX), registrar.go
// (phones at the box) and subscribe.go with roster.go (RFC 4575).
//
// One goroutine owns one Call: whatever concerns it, from the network, a timer or the program, is posted to its mailbox.
//
// The package must not know what a conference, a member, a mixer or a broker is: a Handler decides who is let in.
package sip
