# X-9: a box fresh from the flash is told everything over MQTT, by a fleet's broker on the host. It tells the test what is in force, again and
# again, until its power is cut. A disk is needed.
# Words: the broker's port, the registrar's, both at 127.0.0.1 as the host knows it.
set -- $words
network
guest relay tcp 127.0.0.1:$1 10.0.2.2:$1 &
guest relay udp 127.0.0.1:$2 10.0.2.2:$2 &
disk
soundcard
settings <<'YAML'
box: box-1
place: {name: "none"}
provision: {boot_file: /etc/provision.yaml}
YAML
box_begin
tail -F /run/box.log &
while :; do
	if look 2>/dev/null; then
		ask note name "$(setting place name)"
		ask note card "$(metric card_open)"
		if wget -q -O /dev/null http://127.0.0.1:8080/readyz 2>/dev/null; then ask note ready yes; else ask note ready no; fi
	fi
	sleep 1
done >/dev/null
