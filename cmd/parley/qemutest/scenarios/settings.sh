# X-9: settings from outside that cut the box off (a wrong broker, a wrong card) undo themselves within their time, also when the power is cut
# while they are on trial; good ones stay. Twice: the host cuts the power when it is told of the trial. A disk is needed.
disk
soundcard
settings <<'YAML'
box: box-1
YAML
box
# named NAME fails unless the box runs with the version of its settings that called the place so.
named() {
	until_ 30 parleyctl support -data /data -o /tmp/bundle.gz || return 1
	zcat /tmp/bundle.gz | sed -n '/^place:$/,/^keys:$/p' | grep -q "name: $1\$"
}
if [ ! -e /data/cut ]; then
	[ "$(guest desired -version 1 -settings '{"place":{"name":"good"}}')" = good ] || fail 'good settings are not taken'
	named good || fail 'good settings are not in force'
	began=$(guest now)
	outcome=$(guest desired -version 2 -confirm 5 -settings '{"place":{"name":"bad"},"mqtt":{"broker":"mqtt://127.0.0.1:9"}}')
	say "a wrong broker: $outcome after $((($(guest now) - began) / 1000)) s"
	[ "$outcome" = 'rejected confirm_timeout' ] || fail 'a wrong broker is not undone'
	named good || fail 'the good settings are not back'
	began=$(guest now)
	outcome=$(guest desired -version 3 -confirm 5 -settings '{"place":{"name":"bad"},"card":{"device":"plughw:CARD=None"}}')
	say "a wrong card: $outcome after $((($(guest now) - began) / 1000)) s"
	[ "$outcome" = 'rejected confirm_timeout' ] || fail 'a wrong card is not undone'
	named good || fail 'the good settings are not back'
	until_ 10 is card_open 1 || fail 'the card is not open again'
	touch /data/cut
	sync
	guest desired -version 4 -confirm 15 -for 5s -settings '{"place":{"name":"bad"},"mqtt":{"broker":"mqtt://127.0.0.1:9"}}' &
	wait_log 'MQTT  mqtt://127.0.0.1:9' 30 2
	ask note trial 4
	sleep 300
	fail 'the power is not cut'
fi
until_ 60 named good || fail 'after the power cut the good settings are not back'
[ "$(guest desired -version 5 -settings '{"place":{"name":"better"}}')" = good ] || fail 'better settings are not taken'
named better || fail 'better settings are not in force'
