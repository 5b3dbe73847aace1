// A dialog (RFC 3261, 12): what both ends must remember to understand each other.

package sip

import (
	"crypto/rand"
	"encoding/hex"
	"net/netip"
	"strings"

	gosip "github.com/emiago/sipgo/sip"
)

// dialogKey finds a dialog by what we ourselves put into it: the far end's tag may not be known yet.
type dialogKey struct {
	call string // Call-ID
	tag  string // ours
}

// dialog is the state of RFC 3261, 12.1, and where its requests go.
type dialog struct {
	key       dialogKey
	remoteTag string
	local     gosip.FromHeader // our address, with our tag
	remote    gosip.ToHeader   // theirs, with their tag once it is known
	localSeq  uint32
	remoteSeq uint32
	heard     bool // remoteSeq is set
	target    gosip.Uri
	routes    []gosip.Uri // in the order in which they are visited
	contact   gosip.Uri   // ours
	hop       hop         // where the last request went or came from
	nat       bool        // the far end is behind NAT: only hop reaches it
	allow     []string    // methods that the far end said it takes
	supported []string
	auth      *credentials // for challenges within the dialog
}

// uasDialog is the dialog that an INVITE or SUBSCRIBE of the far end begins. Our tag stands in req's To already.
func uasDialog(req *gosip.Request, tag string, at hop) dialog {
	d := dialog{
		key:       dialogKey{call: req.CallID().Value(), tag: tag},
		local:     req.To().AsFrom(),
		remote:    req.From().AsTo(),
		localSeq:  firstSeq(),
		remoteSeq: req.CSeq().SeqNo,
		heard:     true,
		hop:       at,
		nat:       behindNAT(req),
	}
	d.local.Params.Remove("tag")
	d.local.Params.Add("tag", tag)
	d.remoteTag, _ = req.From().Params.Get("tag")
	for _, h := range req.GetHeaders("Record-Route") {
		if rr, ok := h.(*gosip.RecordRouteHeader); ok && len(d.routes) < maxRoutes {
			d.routes = append(d.routes, *rr.Address.Clone())
		}
	}
	d.learn(req)
	if c := req.Contact(); c != nil {
		d.target = *c.Address.Clone()
	} else {
		d.target = *req.From().Address.Clone()
	}
	return d
}

// maxRoutes bounds a route set.
const maxRoutes = 16

// establish fills in what a response of the far end says (12.1.2).
func (d *dialog) establish(res *gosip.Response) {
	d.remoteTag, _ = res.To().Params.Get("tag")
	d.remote = gosip.ToHeader{DisplayName: res.To().DisplayName, Address: *res.To().Address.Clone(), Params: res.To().Params.Clone()}
	d.routes = nil
	rrs := res.GetHeaders("Record-Route")
	for i := len(rrs) - 1; i >= 0 && len(d.routes) < maxRoutes; i-- {
		if rr, ok := rrs[i].(*gosip.RecordRouteHeader); ok {
			d.routes = append(d.routes, *rr.Address.Clone())
		}
	}
	d.learn(res)
	d.retarget(res)
}

// learn notes what the far end can do.
func (d *dialog) learn(m gosip.Message) {
	if list := tokens(m, "Allow"); len(list) > 0 {
		d.allow = list
	}
	if list := tokens(m, "Supported", "k"); len(list) > 0 {
		d.supported = list
	}
}

// retarget takes the far end's new Contact (12.2: INVITE and UPDATE are target refreshes).
func (d *dialog) retarget(m gosip.Message) {
	for _, h := range m.GetHeaders("Contact") {
		if c, ok := h.(*gosip.ContactHeader); ok && !c.Address.Wildcard && c.Address.Host != "" {
			d.target = *c.Address.Clone()
		}
		return
	}
}

// takes reports whether the far end serves method.
func (d *dialog) takes(method string) bool { return contains(d.allow, strings.ToLower(method)) }

// inOrder checks a request's CSeq (12.2.2) and notes it. A lower one is out of order and gets 500.
func (d *dialog) inOrder(req *gosip.Request) bool {
	seq := req.CSeq().SeqNo
	if d.heard && seq <= d.remoteSeq {
		return false
	}
	d.remoteSeq, d.heard = seq, true
	return true
}

// ours reports whether a request within the dialog bears the far end's tag.
func (d *dialog) ours(req *gosip.Request) bool {
	tag, _ := req.From().Params.Get("tag")
	return tag == d.remoteTag
}

// request makes the next request within the dialog (12.2.1.1), without Via.
func (d *dialog) request(a *Agent, method gosip.RequestMethod) *gosip.Request {
	if method != gosip.ACK && method != gosip.CANCEL {
		d.localSeq++
	}
	return d.requestSeq(a, method, d.localSeq)
}

func (d *dialog) requestSeq(a *Agent, method gosip.RequestMethod, seq uint32) *gosip.Request {
	target, routes := d.target, d.routes
	if len(routes) > 0 && !routes[0].UriParams.Has("lr") { // a strict router: it wants its own URI as Request-URI
		target, routes = d.routes[0], append(append([]gosip.Uri(nil), d.routes[1:]...), d.target)
	}
	req := gosip.NewRequest(method, *target.Clone())
	req.Recipient.Headers = nil
	for _, r := range routes {
		req.AppendHeader(&gosip.RouteHeader{Address: *r.Clone()})
	}
	maxForwards := gosip.MaxForwardsHeader(70)
	callID := gosip.CallIDHeader(d.key.call)
	from, to := d.local, d.remote
	from.Params, to.Params = from.Params.Clone(), to.Params.Clone()
	req.AppendHeader(&maxForwards)
	req.AppendHeader(&from)
	req.AppendHeader(&to)
	req.AppendHeader(&callID)
	req.AppendHeader(&gosip.CSeqHeader{SeqNo: seq, MethodName: method})
	req.AppendHeader(gosip.NewHeader("User-Agent", a.cfg.UserAgent))
	return req
}

// next is the URI that the dialog's next request goes to.
func (d *dialog) next() gosip.Uri {
	if len(d.routes) > 0 {
		return d.routes[0]
	}
	return d.target
}

// behindNAT reports whether the sender of req gives an address to call it back by that its packets do not come from, and no
// proxy that would know the way. Then requests and sound go where its own come from.
func behindNAT(req *gosip.Request) bool {
	c := req.Contact()
	if c == nil || req.RecordRoute() != nil {
		return false
	}
	ip, err := netip.ParseAddr(strings.Trim(c.Address.Host, "[]"))
	return err == nil && ip.Unmap() != sourceOf(req).Addr()
}

// token is n random bytes in hexadecimal, for tags, Call-IDs and contacts nobody can guess.
func token(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// firstSeq is where a CSeq begins: anywhere in the lower 2^15 (8.1.1.5).
func firstSeq() uint32 {
	var b [2]byte
	rand.Read(b[:])
	return uint32(b[0]&0x7f)<<8 | uint32(b[1]) + 1
}
