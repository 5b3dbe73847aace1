# U-Boot's part of the update: which slot boots. hal/update writes what is read here, and State.Choose there decides the same.
#
# The partition "state" holds two copies of it, each a block of `env export -c`, 4 MiB apart; the valid one with the higher seq counts. A slot
# that is to be tried is tried as often as left says, and one is taken off before: a try that ends in whatever way leads back to the good
# slot. If that cannot be counted there is no try. A slot whose kernel is none, or is damaged, is passed over.
#
# Numbers are hexadecimal, as U-Boot has them.
setexpr at ${ramdisk_addr_r} + 4000000
setexpr back ${at} + 1000
${devtype} dev ${devnum}
part start ${devtype} ${devnum} state first
setexpr second ${first} + 2000

# The copy that counts, and the other one, to be written next.
setenv good; setenv left; setenv seq; setenv try
setenv old ${first}
setenv seq1
if ${devtype} read ${at} ${first} 8 && env import -c ${at} 1000 good left seq try; then
	setenv old ${second}
	setenv seq1 ${seq}
fi
if ${devtype} read ${back} ${second} 8 && env import -c ${back} 1000 good left seq try; then
	setenv old ${first}
	if test -n "${seq1}"; then
		if itest ${seq} -le ${seq1}; then
			setenv old ${second}
			env import -c ${at} 1000 good left seq try
		fi
	fi
fi
if test "${good}" != b; then setenv good a; fi
if test "${good}" = a; then setenv other b; else setenv other a; fi

setenv slot ${good}
if test "${try}" = "${other}" && itest 0${left} -gt 0; then
	setexpr left ${left} - 1
	setexpr seq ${seq} + 1
	env export -c -s 1000 ${at} good left seq try
	if ${devtype} write ${at} ${old} 8 && ${devtype} read ${back} ${old} 8 && cmp.b ${at} ${back} 1000; then
		setenv slot ${try}
	fi
fi

# A kernel's image is a FIT with the configuration "slot". Its device tree is in it, else it is where firmware or QEMU has left one; some have a file system in memory.
setenv parley_boot '
setenv start; setenv number; setenv uuid; setenv size; setenv tree; setenv rd
echo "parley: slot ${s}, state good=${good} try=${try} left=${left} seq=${seq}"
if part start ${devtype} ${devnum} kernel-${s} start && ${devtype} read ${at} ${start} 8 && fdt addr ${at} && fdt header get size totalsize; then
	setexpr size ${size} + 1ff
	setexpr size ${size} / 200
	${devtype} read ${at} ${start} ${size}
	part number ${devtype} ${devnum} root-${s} number
	part uuid ${devtype} ${devnum}:${number} uuid
	setenv bootargs "root=PARTUUID=${uuid} rootfstype=squashfs ro rootwait panic=5 parley.slot=${s}"
	fdt addr ${at}
	if fdt get value rd /images/ramdisk type; then setenv rd ${at}#slot; else setenv rd -; fi
	if fdt get value tree /images/fdt type; then bootm ${at}#slot; else bootm ${at}#slot ${rd} ${fdt_addr}; fi
fi
echo "parley: slot ${s} does not boot"
'
for s in ${slot} ${good} ${other}; do
	run parley_boot
done
reset
