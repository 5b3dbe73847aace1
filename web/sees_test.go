package web_test

import (
	"errors"
	"testing"

	"parley/conference"
	"parley/conference/create"
	"parley/web"
	"parley/web/token"
)

// Who calls and has not proved himself is shown nothing, though his number stands in the roster.
func TestWhoProvesHimselfSeesNothingYet(t *testing.T) {
	guest := &token.Claims{Role: token.Guest, Subject: "666"}
	s := conference.Snapshot{Members: []conference.Member{{Number: "666", Room: conference.Lobby, Proving: true}}}
	if web.Sees(guest, &s) {
		t.Error("a stranger in the lobby sees the conference")
	}
	s.Members[0].Proving = false
	if !web.Sees(guest, &s) {
		t.Error("who waits for the start does not see it")
	}
}

// A token that lists its rights invites nobody elsewhere by a create call without that of inviting, whatever its holder is there.
func TestCreatingIsNoWayToInvite(t *testing.T) {
	who := &token.Claims{Role: token.Host, Subject: "2001", Limits: []conference.Right{conference.RightCreate}}
	r := &create.Request{Creator: "2001"}
	if err := web.MayMake(who, r); err != nil {
		t.Error(err)
	}
	r.Elsewhere = []create.Invitee{{Field: "membersList[0].confName", Conference: "1000", Number: "2"}}
	var field *create.FieldError
	if err := web.MayMake(who, r); !errors.As(err, &field) || field.Code != create.Denied || field.Field != r.Elsewhere[0].Field {
		t.Error(err)
	}
	who.Limits = append(who.Limits, conference.RightInvite)
	if err := web.MayMake(who, r); err != nil {
		t.Error(err)
	}
}
