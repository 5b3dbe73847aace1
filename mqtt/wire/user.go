package wire

import "strings"

// CheckUser tells what is wrong with the id of a user or of a group: 1 to 65 of a-z, A-Z, 0-9 and -._: so that an outside
// number, XXX:YYY, fits too.
func CheckUser(uid string) error { return checkName("uid", uid, userChars, maxUser) }

// User names the topics of one user, on whatever terminals he is. Make it with NewUser.
type User struct{ eid, uid string }

// NewUser checks both names; the error wraps ErrBadName and says which is wrong.
func NewUser(eid, uid string) (User, error) {
	if err := CheckEID(eid); err != nil {
		return User{}, err
	}
	if err := CheckUser(uid); err != nil {
		return User{}, err
	}
	return User{eid: eid, uid: uid}, nil
}

// Cmd is where the user asks for what needs no conference yet, never retained: an Envelope around a ConfCommand.
func (u User) Cmd() string { return "/e/" + u.eid + "/u/" + u.uid + "/cmd" }

// Notice tells what concerns this user alone, not retained: UserNotice.
func (u User) Notice() string { return "/e/" + u.eid + "/u/" + u.uid + "/notice" }

// IM is where messages for the user go, not retained: Message. Made with GroupOf, it is a group's.
func (u User) IM() string { return "/e/" + u.eid + "/im/u/" + u.uid }

// GroupOf gives the id of the group that the members of a conference are, by the conference's uid.
func GroupOf(uid string) string { return "c" + uid }

// ConferenceOf gives the uid of the conference whose group that would be; false if it can be none's. Whether there is such
// a conference it does not say.
func ConferenceOf(gid string) (uid string, ok bool) {
	uid, ok = strings.CutPrefix(gid, "c")
	return uid, ok && checkID("uid", uid) == nil
}

// ConfCmds matches the Cmd topic of every conference of an enterprise.
func ConfCmds(eid string) string { return "/e/" + eid + "/conf/+/cmd" }

// UserCmds matches the Cmd topic of every user of an enterprise.
func UserCmds(eid string) string { return "/e/" + eid + "/u/+/cmd" }

// Messages matches the IM topic of every user and group of an enterprise.
func Messages(eid string) string { return "/e/" + eid + "/im/u/+" }
