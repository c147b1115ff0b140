"""Modbus TCP, since no PLC speaks ZeroMQ: the service's state, standing alarms and newest defects as registers."""
