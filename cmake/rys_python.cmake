# Finds the Python that the package is built for, and pybind11.
# Sets RYS_PYBIND11_INCLUDE_DIR.

find_package(Python 3.10 REQUIRED COMPONENTS Interpreter OPTIONAL_COMPONENTS Development.Module)
if(NOT Python_Development.Module_FOUND)
    message(FATAL_ERROR
        " The C headers of Python ${Python_VERSION} (${Python_EXECUTABLE}) were not found.\n"
        " On Debian and Ubuntu they are in the package python3-dev:\n"
        "     apt-get install python3-dev\n"
        " Then build again.")
endif()

execute_process(
    COMMAND "${Python_EXECUTABLE}" -c "import pybind11; print(pybind11.get_include())"
    OUTPUT_VARIABLE pybind11_include
    OUTPUT_STRIP_TRAILING_WHITESPACE
    ERROR_QUIET
    RESULT_VARIABLE result)
if(NOT result EQUAL 0)
    message(FATAL_ERROR
        " ${Python_EXECUTABLE} has no pybind11. `pip install .` brings it; a build without build isolation needs\n"
        "     pip install scikit-build-core pybind11")
endif()

# pip builds in a new temporary environment every time. Headers at a fixed place, copied only when they change, keep a
# second build from compiling anything.
set(RYS_PYBIND11_INCLUDE_DIR "${CMAKE_BINARY_DIR}/pybind11")
file(GLOB_RECURSE headers RELATIVE "${pybind11_include}" "${pybind11_include}/pybind11/*.h")
foreach(header IN LISTS headers)
    get_filename_component(folder "${RYS_PYBIND11_INCLUDE_DIR}/${header}" DIRECTORY)
    file(MAKE_DIRECTORY "${folder}")
    file(COPY_FILE "${pybind11_include}/${header}" "${RYS_PYBIND11_INCLUDE_DIR}/${header}" ONLY_IF_DIFFERENT)
endforeach()
