################################################################################
#
# parley
#
################################################################################

# The program is taken as "make firmware" has built it, and not built here: then the box runs the very bytes that were
# tested, they are the same with every Buildroot, and no Go modules are fetched while an image is made. It is static, so that nothing of
# Buildroot's toolchain matters to it.
PARLEY_VERSION = dist
PARLEY_SITE = $(BR2_EXTERNAL_PARLEY_PATH)/../dist
PARLEY_SITE_METHOD = local
PARLEY_LICENSE = Apache-2.0, LGPL-2.1+ (alsa-lib), BSD-3-Clause (opus), MIT (musl)
PARLEY_ARCH = $(if $(BR2_aarch64),arm64,armv7)
PARLEY_BOARD = $(call qstrip,$(BR2_PACKAGE_PARLEY_BOARD))

# User and group have fixed numbers: the data partition outlives the image, and with it the numbers of its files' owner.
define PARLEY_USERS
	parley 990 parley 990 * /data - audio,gpio,watchdog Parley
endef

define PARLEY_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0755 $(@D)/parley-$(PARLEY_ARCH) $(TARGET_DIR)/usr/bin/parley
	$(INSTALL) -D -m 0755 $(PARLEY_PKGDIR)/supervise $(TARGET_DIR)/usr/libexec/parley/supervise
	$(INSTALL) -D -m 0755 $(PARLEY_PKGDIR)/storage $(TARGET_DIR)/usr/libexec/parley/storage
	$(INSTALL) -D -m 0755 $(PARLEY_PKGDIR)/mixer $(TARGET_DIR)/usr/libexec/parley/mixer
	$(INSTALL) -D -m 0644 $(PARLEY_PKGDIR)/parley.yaml $(TARGET_DIR)/etc/parley/parley.yaml
	$(SED) 's/@BOARD@/$(PARLEY_BOARD)/' $(TARGET_DIR)/etc/parley/parley.yaml
	rm -rf $(TARGET_DIR)/etc/parley/mixer
	cp -r $(BR2_EXTERNAL_PARLEY_PATH)/../board/$(PARLEY_BOARD)/mixer $(TARGET_DIR)/etc/parley/mixer
endef

define PARLEY_INSTALL_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(PARLEY_PKGDIR)/parley.service $(TARGET_DIR)/usr/lib/systemd/system/parley.service
	$(INSTALL) -D -m 0644 $(PARLEY_PKGDIR)/60-parley.rules $(TARGET_DIR)/usr/lib/udev/rules.d/60-parley.rules
endef

$(eval $(generic-package))
