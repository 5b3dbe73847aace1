include $(sort $(wildcard $(BR2_EXTERNAL_PARLEY_PATH)/package/*/*.mk))
